"""What all Caelum services share: contracts, features, HTTP manners."""
