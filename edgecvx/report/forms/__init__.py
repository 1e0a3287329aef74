"""The forms of a report: one value in, text or what a terminal shows out. All of them say the same."""
