"""What of a prompt or a conversation is asked, and the rules that look at it before a router does."""
