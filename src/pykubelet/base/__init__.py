"""What every room stands on: time, paths, tasks, files, text forms, and the doors of the journal."""
