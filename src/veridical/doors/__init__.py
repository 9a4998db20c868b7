"""Former name of `apps`, kept so that scripts calling `python -m veridical.doors.cli` go on
working.
"""
