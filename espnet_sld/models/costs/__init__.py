"""What a recipe costs, by formula: FLOPs and bytes counted from shapes, divided by stated rates.

Pure arithmetic: nothing here loads torch, and nothing is measured.
"""
