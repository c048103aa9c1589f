"""Tables and plots of results that were computed elsewhere."""
