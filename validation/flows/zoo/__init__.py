"""Transforms and flows of six libraries, each with the verdict that it must get.

A library that isn't installed is left out, and the report says so.
"""
