"""How a plan becomes layers: what is here is found, what lies in a registry is brought, the rest is made."""
