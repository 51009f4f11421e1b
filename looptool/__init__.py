"""What two or more stages of LoopTool must agree on, and nothing else."""
