"""The strict configuration file: reading, places of mistakes, the models every kind builds on."""
