"""The compiler: declared graphs -> flat arrays; values -> numbers, and gradients back; schedules."""
