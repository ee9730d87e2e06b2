"""Runs the real template in an AWS emulator, on this machine."""
