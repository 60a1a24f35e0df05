"""The local cloud: broker, Jobs service, image server, throw-away PKI."""
