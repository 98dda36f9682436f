"""The papers behind the methods; a page lists those it used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One paper.

    Attributes
    ----------
    text : str
        Authors (year), title, journal.
    doi : str
    """

    text: str
    doi: str

    @property
    def url(self) -> str:
        """Where to read it."""
        return f"https://doi.org/{self.doi}"


REFERENCES = {
    "anscombe1948": Reference(
        "Anscombe FJ (1948). The transformation of Poisson, binomial and negative-binomial data. "
        "Biometrika 35:246-254.",
        "10.1093/biomet/35.3-4.246",
    ),
    "turin1960": Reference(
        "Turin GL (1960). An introduction to matched filters. IRE Transactions on Information "
        "Theory 6:311-329.",
        "10.1109/TIT.1960.1057571",
    ),
    "baker2004": Reference(
        "Baker S, Matthews I (2004). Lucas-Kanade 20 years on: a unifying framework. International "
        "Journal of Computer Vision 56:221-255.",
        "10.1023/B:VISI.0000011205.11775.fd",
    ),
    "keys1981": Reference(
        "Keys R (1981). Cubic convolution interpolation for digital image processing. IEEE "
        "Transactions on Acoustics, Speech, and Signal Processing 29:1153-1160.",
        "10.1109/TASSP.1981.1163711",
    ),
    "costes2004": Reference(
        "Costes SV, Daelemans D, Cho EH, Dobbin Z, Pavlakis G, Lockett S (2004). Automatic and "
        "quantitative measurement of protein-protein colocalization in live cells. "
        "Biophys J 86:3993–4003.",
        "10.1529/biophysj.103.038422",
    ),
    "manders1993": Reference(
        "Manders EMM, Verbeek FJ, Aten JA (1993). Measurement of co-localization of objects in "
        "dual-colour confocal images. J Microsc 169:375–382.",
        "10.1111/j.1365-2818.1993.tb03313.x",
    ),
    "manders1992": Reference(
        "Manders EMM, Stap J, Brakenhoff GJ, van Driel R, Aten JA (1992). Dynamics of "
        "three-dimensional replication patterns during the S-phase, analysed by double labelling "
        "of DNA and confocal microscopy. J Cell Sci 103:857–862.",
        "10.1242/jcs.103.3.857",
    ),
    "li2004": Reference(
        "Li Q, Lau A, Morris TJ, Guo L, Fordyce CB, Stanley EF (2004). A syntaxin 1, Gαo, and "
        "N-type calcium channel complex at a presynaptic nerve terminal: analysis by quantitative "
        "immunocolocalization. J Neurosci 24:4070–4081.",
        "10.1523/JNEUROSCI.0346-04.2004",
    ),
    "vansteensel1996": Reference(
        "van Steensel B, van Binnendijk EP, Hornsby CD, van der Voort HTM, Krozowski ZS, de Kloet "
        "ER, van Driel R (1996). Partial colocalization of glucocorticoid and mineralocorticoid "
        "receptors in discrete compartments in nuclei of rat hippocampus neurons. "
        "J Cell Sci 109:787–792.",
        "10.1242/jcs.109.4.787",
    ),
    "adler2010": Reference(
        "Adler J, Parmryd I (2010). Quantifying colocalization by correlation: the Pearson "
        "correlation coefficient is superior to the Mander's overlap coefficient. "
        "Cytometry A 77A:733–742.",
        "10.1002/cyto.a.20896",
    ),
    "dunn2011": Reference(
        "Dunn KW, Kamocka MM, McDonald JH (2011). A practical guide to evaluating colocalization "
        "in biological microscopy. Am J Physiol Cell Physiol 300:C723–C742.",
        "10.1152/ajpcell.00462.2010",
    ),
    "bolte2006": Reference(
        "Bolte S, Cordelières FP (2006). A guided tour into subcellular colocalization analysis "
        "in light microscopy. J Microsc 224:213–232.",
        "10.1111/j.1365-2818.2006.01706.x",
    ),
    "schindelin2012": Reference(
        "Schindelin J, Arganda-Carreras I, Frise E, et al. (2012). Fiji: an open-source platform "
        "for biological-image analysis (Coloc 2 is part of it). Nat Methods 9:676–682.",
        "10.1038/nmeth.2019",
    ),
    "clifford1989": Reference(
        "Clifford P, Richardson S, Hémon D (1989). Assessing the significance of the correlation "
        "between two spatial processes. Biometrics 45:123–134.",
        "10.2307/2532039",
    ),
    "mrkvicka2021": Reference(
        "Mrkvička T, Dvořák J, González JA, Mateu J (2021). Revisiting the random shift approach "
        "for testing in spatial statistics. Spat Stat 42:100430.",
        "10.1016/j.spasta.2020.100430",
    ),
    "phipson2010": Reference(
        "Phipson B, Smyth GK (2010). Permutation P-values should never be zero: calculating exact "
        "P-values when permutations are randomly drawn. Stat Appl Genet Mol Biol 9:39.",
        "10.2202/1544-6115.1585",
    ),
    "benjamini1995": Reference(
        "Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate: a practical and "
        "powerful approach to multiple testing. J R Stat Soc B 57:289–300.",
        "10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "otsu1979": Reference(
        "Otsu N (1979). A threshold selection method from gray-level histograms. "
        "IEEE Trans Syst Man Cybern 9:62–66.",
        "10.1109/TSMC.1979.4310076",
    ),
    "li1998": Reference(
        "Li CH, Tam PKS (1998). An iterative algorithm for minimum cross entropy thresholding. "
        "Pattern Recognit Lett 19:771–776.",
        "10.1016/S0167-8655(98)00057-9",
    ),
    "yen1995": Reference(
        "Yen JC, Chang FJ, Chang S (1995). A new criterion for automatic multilevel thresholding. "
        "IEEE Trans Image Process 4:370–378.",
        "10.1109/83.366472",
    ),
    "zack1977": Reference(
        "Zack GW, Rogers WE, Latt SA (1977). Automatic measurement of sister chromatid exchange "
        "frequency. J Histochem Cytochem 25:741–753.",
        "10.1177/25.7.70454",
    ),
    "ridler1978": Reference(
        "Ridler TW, Calvard S (1978). Picture thresholding using an iterative selection method. "
        "IEEE Trans Syst Man Cybern 8:630–632.",
        "10.1109/TSMC.1978.4310039",
    ),
    "vincent1991": Reference(
        "Vincent L, Soille P (1991). Watersheds in digital spaces: an efficient algorithm based on "
        "immersion simulations. IEEE Trans Pattern Anal Mach Intell 13:583–598.",
        "10.1109/34.87344",
    ),
    "najman1996": Reference(
        "Najman L, Schmitt M (1996). Geodesic saliency of watershed contours and hierarchical "
        "segmentation. IEEE Trans Pattern Anal Mach Intell 18:1163–1173.",
        "10.1109/34.546254",
    ),
    "lindeberg1998": Reference(
        "Lindeberg T (1998). Feature detection with automatic scale selection. "
        "Int J Comput Vis 30:79–116.",
        "10.1023/A:1008045108935",
    ),
    "legland2007": Reference(
        "Legland D, Kiêu K, Devaux MF (2007). Computation of Minkowski measures on 2D and 3D "
        "binary images. Image Anal Stereol 26:83–92.",
        "10.5566/ias.v26.p83-92",
    ),
    "stringer2021": Reference(
        "Stringer C, Wang T, Michaelos M, Pachitariu M (2021). Cellpose: a generalist algorithm "
        "for cellular segmentation. Nat Methods 18:100–106.",
        "10.1038/s41592-020-01018-x",
    ),
    "schmidt2018": Reference(
        "Schmidt U, Weigert M, Broaddus C, Myers G (2018). Cell detection with star-convex "
        "polygons. MICCAI 2018, LNCS 11071:265–273.",
        "10.1007/978-3-030-00934-2_30",
    ),
    "gundersen1977": Reference(
        "Gundersen HJG (1977). Notes on the estimation of the numerical density of arbitrary "
        "profiles: the edge effect. J Microsc 111:219–223.",
        "10.1111/j.1365-2818.1977.tb00062.x",
    ),
    "sterio1984": Reference(
        "Sterio DC (1984). The unbiased estimation of number and sizes of arbitrary particles "
        "using the disector. J Microsc 134:127–136.",
        "10.1111/j.1365-2818.1984.tb02501.x",
    ),
    "abercrombie1946": Reference(
        "Abercrombie M (1946). Estimation of nuclear population from microtome sections. "
        "Anat Rec 94:239–247.",
        "10.1002/ar.1090940210",
    ),
    "welch1947": Reference(
        "Welch BL (1947). The generalization of 'Student's' problem when several different "
        "population variances are involved. Biometrika 34:28–35.",
        "10.1093/biomet/34.1-2.28",
    ),
    "williams1975": Reference(
        "Williams DA (1975). The analysis of binary responses from toxicological experiments "
        "involving reproduction and teratogenicity. Biometrics 31:949–952.",
        "10.2307/2529820",
    ),
    "hurlbert1984": Reference(
        "Hurlbert SH (1984). Pseudoreplication and the design of ecological field experiments. "
        "Ecol Monogr 54:187–211.",
        "10.2307/1942661",
    ),
    "lord2020": Reference(
        "Lord SJ, Velle KB, Mullins RD, Fritz-Laylin LK (2020). SuperPlots: communicating "
        "reproducibility and variability in cell biology. J Cell Biol 219:e202001064.",
        "10.1083/jcb.202001064",
    ),
    "verbeek1994": Reference(
        "Verbeek PW, van Vliet LJ (1994). On the location error of curved edges in low-pass "
        "filtered 2-D and 3-D images. IEEE Trans Pattern Anal Mach Intell 16:726–733.",
        "10.1109/34.297954",
    ),
    "myllymaki2017": Reference(
        "Myllymäki M, Mrkvička T, Grabarnik P, Seijo H, Hahn U (2017). Global envelope tests for "
        "spatial processes. J R Stat Soc B 79:381–404.",
        "10.1111/rssb.12172",
    ),
    "wald1940": Reference(
        "Wald A (1940). The fitting of straight lines if both variables are subject to error. "
        "Ann Math Stat 11:284–300.",
        "10.1214/aoms/1177731868",
    ),
}

THRESHOLD_PAPERS = {
    "costes": "costes2004",
    "bisection": "costes2004",
    "otsu": "otsu1979",
    "li": "li1998",
    "yen": "yen1995",
    "triangle": "zack1977",
    "isodata": "ridler1978",
}
