"""Fault campaigns: updates by the thousand in simulated time, with everything going wrong that can."""
