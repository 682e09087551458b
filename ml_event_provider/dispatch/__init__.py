"""The dispatcher: matches recorded events with rules, delivers notifications, and reconciles."""
