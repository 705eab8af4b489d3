"""What is right: definitions in 60 digits, tolerances, the suite of cases, its files."""
