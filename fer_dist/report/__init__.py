"""What a study found to one page. Measures nothing, and knows no study; may import scores."""
