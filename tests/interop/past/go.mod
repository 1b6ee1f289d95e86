// Stands for the *.mod beside it, of which -modfile names one.
module past

go 1.26.0
