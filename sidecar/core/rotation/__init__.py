"""What a rotation does next: facts, the plan and the names of keys."""
