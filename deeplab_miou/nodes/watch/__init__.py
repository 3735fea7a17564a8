"""``miou_watch``: a page in the browser that shows the scores while they come."""
