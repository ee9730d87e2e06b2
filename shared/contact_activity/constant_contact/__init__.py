"""Read from the Constant Contact API."""
