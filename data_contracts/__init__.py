"""What crosses a stage boundary: schemas, specifications and layouts, each with its rules. Imports nothing of ours."""
