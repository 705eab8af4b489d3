"""From numbers that are wrong to the name of the mistake."""
