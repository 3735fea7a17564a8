"""Tags of a drive, such as rain or tunnel: which is in force when, and where that is written."""
