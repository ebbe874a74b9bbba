"""Estimators with the face of scikit-learn, one file each."""
