"""What people read of a run: the console, tables of figures, the HTML report."""
