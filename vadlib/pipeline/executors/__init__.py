"""Who does the tasks that a stage consists of: processes of this machine, or those of a Ray cluster."""
