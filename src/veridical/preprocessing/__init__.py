"""What is done to an image before it is looked at or learned from: pure functions of arrays, none
of them trained.
"""
