"""The machine swaplab runs on: record a program, profile live memory, measure costs."""
