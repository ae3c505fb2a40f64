"""Studies: critics compared at matched compute, where values are known and in control."""
