"""``miou_watch``: a page in the browser that shows the scores as they come in."""
