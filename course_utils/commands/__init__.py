"""The commands behind `python -m course_utils`: like `__main__`, the one place that may use every room."""
