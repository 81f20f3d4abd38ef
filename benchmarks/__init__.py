"""How fast decisions are, beside peers. Not part of any distribution."""
