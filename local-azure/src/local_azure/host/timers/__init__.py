"""Timer triggers: NCRONTAB schedules, kept by one instance at a time."""
