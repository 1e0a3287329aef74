"""Where a benchmark runs: this machine, a board behind ssh, a phone behind adb."""
