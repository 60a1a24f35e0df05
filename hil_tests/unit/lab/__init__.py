"""Tests of the local cloud, mostly without sockets."""
