"""What happens when one thing changes: variants of the stages, trained briefly beside an equally short baseline."""
