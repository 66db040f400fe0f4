"""Making generators faster, each change beside what it costs in quality."""
