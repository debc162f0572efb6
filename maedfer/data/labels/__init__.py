"""Labels: targets of samples, the subsets they form, and the validation share."""
