"""The plan: drills, lanes and a seed become a timetable. Pure."""
