"""What `check_flow` says of flows that others wrote, of planted mistakes, and of right models.

    python -m validation.flows zoo        transforms and flows of six libraries
    python -m validation.flows mistakes   mistakes planted in small flows of every kind
    python -m validation.flows right      2,000 random right models
    python -m validation.flows cost       D = 784 and D = 3,072
    python -m validation.flows report     write REPORT.md anew

Results are kept in results/.
"""
