"""Estimators: scikit-learn faces of the library."""
