"""The `sw_ranking` router: similarities to battles, tiers of models, and their Bradley-Terry ratings."""
