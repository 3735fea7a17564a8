"""The program ``miou_single_process``: evaluators and their publisher in one process."""
