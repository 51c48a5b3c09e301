"""What drives and measures the example programs; `side_by_side.py` puts it together."""
