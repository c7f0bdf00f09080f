"""What ``explain`` and ``top`` share: where their numbers come from, and how a terminal shows them."""
