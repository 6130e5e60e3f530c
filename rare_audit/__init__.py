"""Finds what an application did in Microsoft Entra that the same application did not do in the two weeks before."""
