"""Measured claims, one file a claim. Each runs its baseline in the same run and reports the ratio: machines are
shared and noisy, so ratios are worth quoting and single figures are not."""
