"""HTTP functions: routes, the classic binding, streams, and the server that carries them."""
