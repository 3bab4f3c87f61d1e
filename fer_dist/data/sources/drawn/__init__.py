"""How the synthetic set draws its faces and what is behind them."""
