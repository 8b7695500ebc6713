"""What a report asks and answers: its verdict, its first screen, methods no better than nothing."""
