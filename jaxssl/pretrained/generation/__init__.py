"""How a text is written token by token: what is drawn, beams, and the text of a stream of tokens."""
