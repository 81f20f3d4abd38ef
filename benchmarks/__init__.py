"""How fast a decision is, measured side by side with peers. Not part of any distribution."""
